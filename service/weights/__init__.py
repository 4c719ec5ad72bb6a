"""How state is kept: the live file, snapshots, the journal. Bytes and tensors, nothing else."""
