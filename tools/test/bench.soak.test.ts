// All of it: `npm run soak` sets the budget.
import './bench.test.ts';
