//! 6. Numbers to verdict: the bound, the budget, warnings.
