"""Uses of a trained model: probes, fine-tuning, reconstruction, generation of pictures. A leaf.
Imports: recipes, runs and below.
"""
