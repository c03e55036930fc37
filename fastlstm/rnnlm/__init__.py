"""The reference trainer: turns a text into a recurrent language model; uses only `fastlstm`'s API.

Everything that the `fastlstm` command does here is a function that also works without it.
"""
