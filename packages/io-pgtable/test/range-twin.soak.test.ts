// All of it: `npm run soak` sets the budget.
import './range-twin.test.ts';
