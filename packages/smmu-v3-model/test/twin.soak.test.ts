// All of it: `npm run soak` sets the budget.
import './twin.test.ts';
