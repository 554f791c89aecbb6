"""Where batches are sent; a sink knows no cursor, no loop and no retry."""
