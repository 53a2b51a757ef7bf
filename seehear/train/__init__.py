"""The one training loop, its optimiser, checkpoints and log.
Imports: methods, inputs, nn.
"""
