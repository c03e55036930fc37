"""Benchmarks of the layer and the trainer against nn.LSTM and its peers: `fastlstm bench`.

Providers run in one process, in turn, on the same weights and input. Before any time is taken the
result of each is compared with nn.LSTM's, and one that differs is refused. Every figure is a row
with its conditions; tables and pictures are made from the rows alone.
"""
