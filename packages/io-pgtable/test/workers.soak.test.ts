// All of it: `npm run soak` sets the budget.
import './workers.test.ts';
