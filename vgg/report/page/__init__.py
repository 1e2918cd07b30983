"""The parts of the HTML page: drawings, tables and sentences, made from results and run directories.

Every module makes one part. ``vgg.report.html`` puts them together with the templates in this folder. Tabs and
choices are radio buttons, to which the style sheet answers; the one script, ``sort.js``, sorts tables and nothing else.
"""
