"""Libraries as retrievers of other packages: each module imports the package that it is for."""
