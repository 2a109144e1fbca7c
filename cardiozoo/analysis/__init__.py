"""What is done with a trained model: attributions, reconstructions, traversals, and the paper they are drawn on."""
