// All of it: `npm run soak` sets the budget.
import './readme.test.ts';
