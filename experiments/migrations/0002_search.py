from django.db import migrations

# People are searched by the beginnings of these, in any case: LIKE 'mar%'. Which index serves that differs between the
# databases, and neither form can be said in a model that both have.
COLUMNS = ("username", "first_name", "last_name", "email")
EXPRESSIONS = {"postgresql": "UPPER({}) text_pattern_ops", "sqlite": "{} COLLATE NOCASE"}


def make(apps, schema_editor):
    expression = EXPRESSIONS[schema_editor.connection.vendor]
    for column in COLUMNS:
        schema_editor.execute(
            f"CREATE INDEX people_by_{column} ON experiments_user ({expression.format(column)})"
        )


def remove(apps, schema_editor):
    for column in COLUMNS:
        schema_editor.execute(f"DROP INDEX people_by_{column}")


class Migration(migrations.Migration):

    dependencies = [("experiments", "0001_initial")]

    operations = [migrations.RunPython(make, remove)]
