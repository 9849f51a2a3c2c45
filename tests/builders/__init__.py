"""What tests build their inputs with: datasets, studies, simulated results, subjects of known truth."""
