"""Model card and data card: what a run's records say of its model and its material, in Markdown.

    gather.py     reads a run's folder into `Facts`, writes the two cards
    model.py      the model card, also the README.md of every model folder
    data.py       the data card
    markdown.py   hostile text made inert; tables

Every sentence comes from a record of the run; what no record knows is said to be unknown. The same records
give the same bytes: no clock, no look at the machine.
"""
