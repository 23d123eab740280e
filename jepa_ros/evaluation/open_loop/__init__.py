"""Open loop: how well a world model foresees recorded episodes, level by level, without acting (LeCun §4.5–4.6)."""
