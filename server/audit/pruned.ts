/** The event that says how many leaves were pruned: `before` in its details is the first that stayed. */
export const prunedAction = 'audit.pruned'
