"""A run from data to a tested model: its data, closed forms to beat, training, scores, verdict, evaluation.
Imports: space, train, evaluation and below; finds presets by name.
"""
