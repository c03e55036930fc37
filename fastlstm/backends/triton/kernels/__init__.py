"""What runs on the GPU: `cell` is plain Triton, to be read first; the others are Gluon."""
