"""What "identical hyperparameters" means, computed once, in NumPy, for every framework.

Update rules every backend follows (g gradient, p parameter, r learning rate of the step):

* SGD: ``v <- momentum v + (g + weight_decay p)``; ``p <- p - r v``; v starts at zero.
* Adam: ``g <- g + weight_decay p``; ``m <- b1 m + (1 - b1) g``; ``s <- b2 s + (1 - b2) g^2``;
  ``p <- p - r (m / (1 - b1^t)) / (sqrt(s / (1 - b2^t)) + epsilon)``.

Loss: mean over the batch of softmax cross-entropy (multi-class).
Pixels: ``(x / 255 - mean) / std`` per channel, in the training precision.
Convolution is cross-correlation; padding is explicit; average pooling never counts padding.
"""
