// All of it: `npm run soak` sets the budget.
import './s0-threads.test.ts';
