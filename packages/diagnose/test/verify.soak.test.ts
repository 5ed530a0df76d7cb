// All of it: `npm run soak` sets the budget.
import './verify.test.ts';
