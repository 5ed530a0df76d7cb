// All of it: `npm run soak` sets the budget.
import './queue-workers.test.ts';
