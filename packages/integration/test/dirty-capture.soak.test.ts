// All of it: `npm run soak` sets the budget.
import './dirty-capture.test.ts';
