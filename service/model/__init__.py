"""What is learned: featurizer, models, losses, layout. No I/O, no threads, no clock."""
