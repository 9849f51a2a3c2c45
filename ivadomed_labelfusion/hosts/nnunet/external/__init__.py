"""The folder that ``nnUNet_extTrainer`` names: nnU-Net looks for classes in its modules."""
