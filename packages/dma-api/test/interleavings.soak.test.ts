// All of it: `npm run soak` sets the budget.
import './interleavings.test.ts';
