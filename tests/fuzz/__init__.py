"""What strangers send, drawn at random: each reader of it takes it or refuses it, in bounded time.

`make test` draws some of each; `make fuzz SECONDS=…` goes on with others until the time is up.
"""
