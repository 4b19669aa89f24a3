"""A multilayer perceptron in NumPy alone: it knows nothing of files, tracking or the command line."""
