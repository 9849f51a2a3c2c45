"""Bad input of every kind, made by code from a seed: nothing may be executed, hang, or end in a traceback.

``python -m tests.attack`` runs the long form and prints the figures; the tests run a short one with a fixed seed.
"""
