"""`--profile`: what a few steps of a stage's training take, in time and in memory, and where.

    recorder.py   watches the loop, records some steps with torch.profiler, writes the folder `profile/`
    trace.py      reads the recorded trace: phases of a step, what held memory when
    page.py       one page and one text of it

Costs nothing when not asked for. The recorded steps do the same arithmetic as any others, only slower.
"""
