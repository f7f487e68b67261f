"""The reference code behind *Build ChatGPT from Scratch*: one module per idea."""
