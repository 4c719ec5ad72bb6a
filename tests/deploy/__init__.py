"""What is deployed: images, compose, Kubernetes, rules, the board."""
