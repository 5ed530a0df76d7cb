// All of it: `npm run soak` sets the budget.
import './explain-twin.test.ts';
