"""The baselines of the paper: ResNet, ViT and a Transformer (Tables 1, 2 and 4)."""
