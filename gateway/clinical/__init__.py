"""Clinical figures: readings in, numbers out. Pure, exact (`Decimal`), with the consensus definitions as default."""
