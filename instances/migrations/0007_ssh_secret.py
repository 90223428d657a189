from django.db import migrations

import instances.models.fields
import instances.models.instance


class Migration(migrations.Migration):
    dependencies = [("instances", "0006_several_hosts")]

    # Machines that exist keep an empty one: their guests were made without the keys that would follow from it.
    operations = [
        migrations.AddField(
            model_name="instance",
            name="ssh_secret",
            field=instances.models.fields.EncryptedTextField(default="", editable=False),
        ),
        migrations.AlterField(
            model_name="instance",
            name="ssh_secret",
            field=instances.models.fields.EncryptedTextField(
                default=instances.models.instance.new_token, editable=False
            ),
        ),
    ]
