// All of it: `npm run soak` sets the budget.
import './batch-twin.test.ts';
