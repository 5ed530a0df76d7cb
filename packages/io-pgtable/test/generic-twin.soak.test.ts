// All of it: `npm run soak` sets the budget.
import './generic-twin.test.ts';
