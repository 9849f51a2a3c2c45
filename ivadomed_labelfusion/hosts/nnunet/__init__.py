"""nnU-Net (2.8) on all raters: a dataset for its unchanged commands, and trainers that it finds as external ones.

`dataset` writes the dataset without nnU-Net; `trainer` and what it uses run inside nnU-Net.
"""
