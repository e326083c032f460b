"""What a model will see in training: examples token by token, and the figures of a whole data set."""
