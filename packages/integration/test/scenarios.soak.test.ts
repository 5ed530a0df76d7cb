// All of it: `npm run soak` sets the budget.
import './scenarios.test.ts';
