"""The adapters to training programs, one package each; nothing else imports a training program."""
