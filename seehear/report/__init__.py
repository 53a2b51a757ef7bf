"""Reports as HTML: one file each, with everything inside, readable without a network. Templates are Jinja2.
Imports: studies, datasets, runs, evaluation and below.
"""
