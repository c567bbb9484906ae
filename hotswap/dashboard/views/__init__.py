"""The portal's pages: each asks one or two selectors, or one service, and draws the answer."""
