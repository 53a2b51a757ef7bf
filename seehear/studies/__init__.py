"""Small experiments on one library, each ending in a table and a figure; plan, selection, leakage. A leaf.
Imports: recipes, runs and below.
"""
