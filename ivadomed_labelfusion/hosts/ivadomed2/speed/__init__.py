"""Training at the speed of the hardware: what ivadomed does sample by sample, done for whole batches."""
