require('no-such-library');
exports.handler = async () => 1;
