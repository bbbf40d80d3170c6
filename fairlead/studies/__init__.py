"""What is learned from many runs: recorded episodes, replay, bounds, the scoreboard."""
