"""What a run learnt, and how, in pictures: an HTML report, and each picture as PNG.

One file for each view; `subject` is what a view looks at, `page` what it makes. Needs matplotlib.
"""
