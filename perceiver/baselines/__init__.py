"""What the paper compares the Perceiver with: ResNet, ViT and a Transformer (Tables 1, 2 and 4)."""
